"""What all jobs share: options, life cycle, slices and who does them, running Beam. It knows no job."""
