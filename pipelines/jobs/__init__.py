"""One readable chain a job. Steps are in `transforms`, knowledge in `image2music`."""
