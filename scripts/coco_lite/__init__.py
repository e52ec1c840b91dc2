"""The generator of coco_lite: pen and things, backgrounds, themes, scenes, lists."""
