"""How each database is asked about one leaf of a query: an expression, and one module of SQL per vendor."""
