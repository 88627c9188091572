"""What tests share: inputs made where they are needed, servers and cameras to break, ways to wait and to watch."""
