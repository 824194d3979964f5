"""What an image file takes in memory once it is decoded, and whether that is allowed; known before it is decoded."""
