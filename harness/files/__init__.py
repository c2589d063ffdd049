"""Files: read strictly, with the line of each value; documents written where a person asked for them."""
