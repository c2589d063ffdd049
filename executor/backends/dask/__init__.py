"""`dask`: steps on a Dask cluster."""
