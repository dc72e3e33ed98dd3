"""Files and Hub data sets in; splits of canonical rows out."""
