"""From a draw to an accounted molecule: decoded, judged, described, and given a second chance."""
