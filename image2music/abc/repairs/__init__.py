"""What mends a finding: each rule proposes texts, and the checker takes the one that leaves the fewest errors."""
