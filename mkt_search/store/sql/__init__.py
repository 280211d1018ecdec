"""The catalog: tables, queries and migrations. All SQL is here."""
