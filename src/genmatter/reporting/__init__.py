"""Reports: figures in one style, and a page that holds them and asks the network for nothing."""
