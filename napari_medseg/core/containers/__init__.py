"""Files that hold several images: zip archives, and parts of one file, such as a volume of a 4-D file."""
