"""All that is drawn: tables, terminal pictures, PNG files."""
