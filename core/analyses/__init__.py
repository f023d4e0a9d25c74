"""What is known of a run beyond its neurons' table, each kind computed once and kept beside the stages."""
