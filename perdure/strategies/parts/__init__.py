"""What several families of strategies are built from."""
