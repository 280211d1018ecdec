"""The catalog in a database: tables, queries, migrations. All SQL is here."""
