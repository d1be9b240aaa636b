"""What all jobs share: options, life cycle, supervision, and all that relies on the inside of Beam. It knows no job."""
