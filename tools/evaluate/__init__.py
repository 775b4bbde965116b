"""Judge generated digits with an independent classifier: agreement and Frechet distance."""
