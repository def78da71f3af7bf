"""Config files that tests change: the contest trainer's own, and one of a tiny run."""

import copy

# The contest trainer's own file, as its users have it.
TEMPLATE = {
    "name": "PSPNet", "n_gpu": 1, "use_synch_bn": True,
    "arch": {"type": "PSPNet", "args": {"backbone": "resnet50", "freeze_bn": False, "freeze_backbone": False}},
    "train_loader": {"type": "SAT", "args": {
        "data_dir": "h:/dataset/sat/train", "batch_size": 8, "base_size": 400, "crop_size": 380, "augment": True,
        "shuffle": True, "scale": True, "flip": True, "rotate": True, "blur": False, "split": "train",
        "num_workers": 8}},
    "val_loader": {"type": "SAT", "args": {
        "data_dir": "h:/dataset/sat/valid", "batch_size": 8, "crop_size": 480, "val": True, "split": "val",
        "num_workers": 4}},
    "optimizer": {"type": "SGD", "differential_lr": True,
                  "args": {"lr": 0.04, "weight_decay": 1e-4, "momentum": 0.9}},
    "loss": "CrossEntropyLoss2d", "ignore_index": 255, "lr_scheduler": {"type": "Poly", "args": {}},
    "trainer": {"epochs": 100, "save_dir": "saved/", "save_period": 10, "monitor": "max Mean_IoU", "early_stop": 10,
                "tensorboard": True, "log_dir": "saved/runs", "log_per_iter": 20, "val": True, "val_per_epochs": 101},
}  # fmt: skip


def changed(content: dict, **changes) -> dict:
    """A copy of a file's content with some keys set, `arch__type` for arch.type; `...` deletes one."""
    content = copy.deepcopy(content)
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = content
        for each in sections:
            section = section.setdefault(each, {})
        if value is ...:
            del section[key]
        else:
            section[key] = value
    return content


# Of the samples in `samples/`, beside the working folder.
TINY = changed(
    TEMPLATE, name="tiny", use_synch_bn=False, n_gpu=0,
    arch={"type": "PSPNet", "args": {"backbone": "test_resnet", "pretrained": False}},
    train_loader__args={"data_dir": "samples", "batch_size": 2, "crop_size": 48, "num_workers": 0},
    val_loader__args={"data_dir": "samples"}, optimizer__type="AdamW", optimizer__args={"lr": 0.01},
    lr_scheduler={"type": "OneCycle", "args": {}}, loss="CE_DiceLoss",
    trainer={"epochs": 3, "save_period": 2, "log_per_iter": 2, "monitor": "max FWIoU"},
    recipe={"steps_per_epoch": 3, "precision": "fp32"},
)  # fmt: skip
