"""What `icechunk.Repository` is made of: one base class for each thing that it is asked about."""
