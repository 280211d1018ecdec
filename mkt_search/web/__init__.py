"""The web app and its REST interface: thin over `Library`, started by `mkt serve`."""
