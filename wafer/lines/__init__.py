"""Lines and spaces in one image: pitch, widths, roughness, with uncertainty."""
