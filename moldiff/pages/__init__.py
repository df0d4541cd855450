"""Pages that open offline: one HTML file with everything in it."""
