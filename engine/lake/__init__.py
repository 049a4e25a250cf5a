"""The lake: contracts, the catalog of datasets, and the one place that writes partitions."""
