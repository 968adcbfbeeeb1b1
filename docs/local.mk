# Man pages are written in POD.
