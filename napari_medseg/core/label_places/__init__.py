"""Where something in labels is: the places of findings, such as specks and holes."""
