"""Before all steps: looks at a data folder, what is wrong with it, and what memory, disk and hours it will take.

    python doctor.py data

Reads every pixel once and writes nothing. Exit code 0: ready; 1: something would stop a long job.
"""

from jingwei.cli.doctor import doctor_command

if __name__ == "__main__":
    doctor_command()
