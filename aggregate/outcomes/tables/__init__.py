"""Result tables of outcomes other than a class."""
