"""Public data sets of driving: the names of their classes in the order of the ids, and what these are in CamVid's 11.

Names and ids alone are here, as the publications and label tables of the data sets give them; no picture is.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping

from .files import Color

# As written: "Car"; "Sidewalk|Tree", one of several classes that the label does not tell apart; or "void".
ClassMap = Mapping[str, str]

# Names and colours (RGB) as published with the data: Brostow, Fauqueur, Cipolla, "Semantic object classes in video:
# A high-definition ground truth database" (2008), label_colors.txt.
CAMVID_COLORS: dict[str, Color] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}
# The 32 classes as the 11 of the SegNet tutorial, read off its label pictures laid over the original ones: of each
# class that occurs, nine tenths of the pixels agree, the rest are borders. Other tables are about, with traffic cones
# as poles or trains as cars: they are not what these labels say. Tunnel, Train and Animal occur nowhere.
CAMVID32_TO_11: dict[str, str] = {
    "Animal": "Void",
    "Archway": "Void",
    "Bicyclist": "Bicyclist",
    "Bridge": "Void",
    "Building": "Building",
    "Car": "Car",
    "CartLuggagePram": "Void",
    "Child": "Void",
    "Column_Pole": "Column_Pole",
    "Fence": "Fence",
    "LaneMkgsDriv": "Road",
    "LaneMkgsNonDriv": "Road",
    "Misc_Text": "SignSymbol",
    "MotorcycleScooter": "Bicyclist",
    "OtherMoving": "Void",
    "ParkingBlock": "Sidewalk",
    "Pedestrian": "Pedestrian",
    "Road": "Road",
    "RoadShoulder": "Road",
    "Sidewalk": "Sidewalk",
    "SignSymbol": "SignSymbol",
    "Sky": "Sky",
    "SUVPickupTruck": "Car",
    "TrafficCone": "Void",
    "TrafficLight": "SignSymbol",
    "Train": "Void",
    "Tree": "Tree",
    "Truck_Bus": "Car",
    "Tunnel": "Void",
    "VegetationMisc": "Tree",
    "Void": "Void",
    "Wall": "Building",
}
# The ids of the SegNet tutorial's label pictures, which come without a list.
SEGNET_NAMES = (
    "Sky",
    "Building",
    "Column_Pole",
    "Road",
    "Sidewalk",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
    "Void",
)

# Cordts et al., "The Cityscapes dataset for semantic urban scene understanding" (2016), labels.py of cityscapesScripts:
# its train ids. BDD100K has the same (Yu et al., 2020), and so have ACDC, WildDash's evaluation and many others.
CITYSCAPES_NAMES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
# The ids of `*_labelIds.png`, of which those that are no train ids are void, as in its evaluation. KITTI has them, too.
CITYSCAPES_IDS = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car"),
    *("truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
# Varma et al., "IDD: A dataset for exploring problems of autonomous navigation in unconstrained environments" (2019),
# anue_labels.py of its public code: the 26 level 3 ids, each by the first of the names that share it; and the seven
# level 1 ids, which its Lite version has.
IDD_NAMES = (
    *("road", "drivable fallback", "sidewalk", "non-drivable fallback", "person", "rider", "motorcycle", "bicycle"),
    *("autorickshaw", "car", "truck", "bus", "vehicle fallback", "curb", "wall", "fence", "guard rail", "billboard"),
    *("traffic sign", "traffic light", "pole", "obs-str-bar-fallback", "building", "bridge", "vegetation", "sky"),
)
IDD_SAME = {
    "parking": "drivable fallback",
    "rail track": "non-drivable fallback",
    "animal": "person",
    **dict.fromkeys(("caravan", "trailer", "train"), "vehicle fallback"),
    "polegroup": "pole",
    "tunnel": "bridge",
    "fallback background": "sky",
}
IDD_LITE_NAMES = (
    *("drivable", "non-drivable", "living things", "vehicles", "road side objects", "far objects", "sky"),
)
# Neuhold et al., "The Mapillary Vistas dataset for semantic understanding of street scenes" (2017), version 1.2.
MAPILLARY_NAMES = (
    *("Bird", "Ground Animal", "Curb", "Fence", "Guard Rail", "Barrier", "Wall", "Bike Lane", "Crosswalk - Plain"),
    *("Curb Cut", "Parking", "Pedestrian Area", "Rail Track", "Road", "Service Lane", "Sidewalk", "Bridge"),
    *("Building", "Tunnel", "Person", "Bicyclist", "Motorcyclist", "Other Rider", "Lane Marking - Crosswalk"),
    *("Lane Marking - General", "Mountain", "Sand", "Sky", "Snow", "Terrain", "Vegetation", "Water", "Banner"),
    *("Bench", "Bike Rack", "Billboard", "Catch Basin", "CCTV Camera", "Fire Hydrant", "Junction Box", "Mailbox"),
    *("Manhole", "Phone Booth", "Pothole", "Street Light", "Pole", "Traffic Sign Frame", "Utility Pole"),
    *("Traffic Light", "Traffic Sign (Back)", "Traffic Sign (Front)", "Trash Can", "Bicycle", "Boat", "Bus", "Car"),
    *("Caravan", "Motorcycle", "On Rails", "Other Vehicle", "Trailer", "Truck", "Wheeled Slow", "Car Mount"),
    *("Ego Vehicle", "Unlabeled"),
)
# Lists of classes by name, for data sets that come without one.
CODES: dict[str, tuple[str, ...]] = {
    "bdd100k": CITYSCAPES_NAMES,
    "camvid": SEGNET_NAMES,
    "camvid32": tuple(CAMVID_COLORS),
    "cityscapes": CITYSCAPES_NAMES,
    "cityscapes-ids": CITYSCAPES_IDS,
    "idd": IDD_NAMES,
    "idd-lite": IDD_LITE_NAMES,
    "mapillary": MAPILLARY_NAMES,
}

# Grass is VegetationMisc in CamVid, walls are Wall, riders and what they ride are Bicyclist.
CITYSCAPES_TO_11: ClassMap = {
    "road": "Road",
    "sidewalk": "Sidewalk",
    "building": "Building",
    "wall": "Building",
    "fence": "Fence",
    "pole": "Column_Pole",
    "traffic light": "SignSymbol",
    "traffic sign": "SignSymbol",
    "vegetation": "Tree",
    "terrain": "Tree",
    "sky": "Sky",
    "person": "Pedestrian",
    "rider": "Bicyclist",
    "car": "Car",
    "truck": "Car",
    "bus": "Car",
    "train": "void",
    "motorcycle": "Bicyclist",
    "bicycle": "Bicyclist",
}
IDD_TO_11: ClassMap = {
    **CITYSCAPES_TO_11,
    "drivable fallback": "Road",  # unpaved, and parking
    "non-drivable fallback": "Sidewalk|Tree",  # verges
    "autorickshaw": "Car",
    "vehicle fallback": "void",
    "curb": "Sidewalk",
    "guard rail": "Fence",
    "billboard": "SignSymbol|Building",
    "obs-str-bar-fallback": "void",
    "bridge": "void",
}
IDD_LITE_TO_11: ClassMap = {
    "drivable": "Road",
    "non-drivable": "Sidewalk|Tree",  # pavements and verges
    "living things": "Pedestrian|Bicyclist",  # people and riders
    "vehicles": "Car|Bicyclist",  # two-wheelers too
    "road side objects": "Fence|Column_Pole|SignSymbol|Building|Sidewalk",  # walls, kerbs
    "far objects": "Building|Tree",
    "sky": "Sky",
}
_MAPILLARY_AS: dict[str, tuple[str, ...]] = {
    "Road": (
        *("Road", "Bike Lane", "Crosswalk - Plain", "Parking", "Service Lane", "Lane Marking - Crosswalk"),
        *("Lane Marking - General", "Manhole", "Pothole", "Catch Basin"),
    ),
    "Sidewalk": ("Sidewalk", "Curb", "Curb Cut", "Pedestrian Area"),
    "Building": ("Building", "Wall"),
    "Fence": ("Fence", "Guard Rail", "Barrier"),
    "Column_Pole": ("Pole", "Utility Pole", "Street Light", "Traffic Sign Frame"),
    "SignSymbol": ("Traffic Light", "Traffic Sign (Back)", "Traffic Sign (Front)", "Billboard", "Banner"),
    "Tree": ("Vegetation", "Terrain"),
    "Sky": ("Sky",),
    "Pedestrian": ("Person",),
    "Bicyclist": ("Bicyclist", "Motorcyclist", "Other Rider", "Bicycle", "Motorcycle"),
    "Car": ("Car", "Truck", "Bus", "Caravan", "Trailer"),
}
MAPILLARY_TO_11: ClassMap = {
    **dict.fromkeys(MAPILLARY_NAMES, "void"),
    **{name: target for target, names in _MAPILLARY_AS.items() for name in names},
}
MAPS: dict[str, ClassMap] = {
    "cityscapes": CITYSCAPES_TO_11,
    "bdd100k": CITYSCAPES_TO_11,
    "camvid32": CAMVID32_TO_11,
    "idd": IDD_TO_11,
    "idd-lite": IDD_LITE_TO_11,
    "mapillary": MAPILLARY_TO_11,
}


def class_colors(names: Iterable[str]) -> tuple[Color, ...]:
    """CamVid's published colour of each class, or one of its own for a name that CamVid does not have."""
    published = {name.lower(): color for name, color in CAMVID_COLORS.items()}
    return tuple(published.get(name.lower(), _spread_color(index)) for index, name in enumerate(names))


def _spread_color(index: int) -> Color:
    """Hues a golden angle apart stay distinct however many there are."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.65, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)
