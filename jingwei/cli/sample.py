"""Sample scenes, to try the road on: those of system A and those of system B."""

from pathlib import Path

from jingwei.cli.command import command
from jingwei.cli.parser import Parser, going_on, not_negative, positive


@command
def sample_command() -> str | None:
    """Makes a made-up county in the contest's folders, names and formats."""
    from jingwei.synthetic.county_sample import chosen_scenes, make_samples

    about = "Makes sample scenes in the contest's folders, names and formats, the same for the same seed."
    parser = Parser(f"{about} Scenes that are there already are kept.")
    parser.flag("data_dir", "where to write", default="data/sample", metavar="DIR")
    parser.flag("size", "size of every scene; only image_1 unless --scenes says more", metavar="WxH")
    parser.flag("scenes", "numbers 1 to 4, or train, test, all (default: all)", nargs="+", metavar="N")
    parser.flag("seed", "another seed, another county", type=not_negative, default=0)
    parser.flag("labels_only", "write labels, but no pictures", action="store_true")
    parser.flag("workers", "threads; they change nothing in the pixels", type=positive, default=2, metavar="N")
    args = parser.parse_args()
    scenes = chosen_scenes(getattr(args, "scenes", ()), getattr(args, "size", None), args.seed)
    make_samples(Path(args.data_dir), scenes, args.labels_only, args.workers)
    return going_on(args, "generate_train_data.py")


@command
def sample_gf_command() -> None:
    """Makes made-up towns and radar scenes in system B's folders."""
    from jingwei.synthetic.gf_sample import make_samples, plan

    about = "Makes sample scenes for system B, optical and radar, the same for the same seed."
    parser = Parser(f"{about} Scenes that are there already are kept, those of other numbers deleted.")
    parser.flag("data_dir", "where to write", default="data/gf_sample", metavar="DIR")
    parser.flag("scenes", "training scenes of each kind", type=int, default=24)
    parser.flag("size", "side of a scene, px", type=int, default=512)
    parser.flag("looks", "of the radar: the more, the less speckle", type=int, default=3)
    parser.flag("seed", "another seed, other land", type=not_negative, default=0)
    args = parser.parse_args()
    make_samples(Path(args.data_dir), plan(args.scenes, args.size, args.seed, args.looks))
