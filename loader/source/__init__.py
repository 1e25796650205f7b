"""Bytes from S3 or disk, decompressed and split into raw records: the one reader that everything shares."""
