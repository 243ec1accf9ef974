"""What an operator does to a yard's database: check it, back it up, restore it, bring its schema up to date."""
