"""What each neuron stands for."""
