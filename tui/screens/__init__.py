"""Full-screen views of the Textual application."""
