"""Equation 2 of the paper for any model: replay, picture boxes, maps. Painting them is in `report`."""
