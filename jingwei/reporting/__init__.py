"""Step 7: the report, a folder that opens in any browser."""
