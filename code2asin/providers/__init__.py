"""Where candidates for a code come from: one module per marketplace API."""
