"""Music for pictures: the domain code, free of Apache Beam."""

__version__ = "0.1.0"
