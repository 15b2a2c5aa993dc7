"""One small web app, started in every way that this machine offers, and compared by measurement."""
