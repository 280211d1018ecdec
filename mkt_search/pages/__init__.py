"""HTML pages: contact sheets and the templates that reports share."""
