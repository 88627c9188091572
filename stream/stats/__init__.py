"""The share of each class in each frame, as a table: CSV or Parquet. Begin with `stats`."""
