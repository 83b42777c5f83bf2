"""contimg: from DSA-110 raw subband files to calibrated, primary-beam-right images and mosaics."""

__version__ = "0.1.0"
