"""Step 7, look: a report that opens in any browser, from disk.

    python report.py --data_dir data

Reads all that the other steps left; writes data/report/: open data/report/index.html.
"""

from jingwei.cli.report import report_command

if __name__ == "__main__":
    report_command()
