"""`python -m jingwei STEP`: the one command, where its script is not on the path."""

from jingwei.cli.main import main

if __name__ == "__main__":
    main("python -m jingwei")
