"""The corrections of a project as a data set to train elsewhere: nnU-Net, MONAI, COCO, or images and masks."""
