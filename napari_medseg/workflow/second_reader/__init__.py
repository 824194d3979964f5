"""The second reader: another person reads a share of the cases blind; how far both agree, and whose labels count."""
