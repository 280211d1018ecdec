"""Search: from a query to the best photos, their scores and the boxes behind them."""
