"""Screening runs: a folder in which a library of any size is worked on in shards, by any number of processes."""
