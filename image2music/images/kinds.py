"""Everyday kinds of things, what each feels like, and which of ImageNet's classes belong to it.

A classifier that wavers between forty breeds is sure of a dog, and one that wavers between dogs and cats is sure of an
animal: what is said of a picture is said at the level whose classes together are likely enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

CLASSES = 1000


@dataclass(frozen=True)
class EverydayKind:
    """An everyday kind of thing.

    `name` is a singular English noun, `group` the wider kind ("animal") that it falls back to. `valence` (-1 to 1) and
    `arousal` (0 to 1) are what a picture of it feels like; `classes` are indices of ImageNet's 1000 classes.
    """

    name: str
    group: str
    valence: float
    arousal: float
    classes: tuple[int, ...]


# name; group; valence; arousal; classes. The feelings are one judgement of this project, set before any label was read.
# A class stands in one kind alone, the first that names it. A line that begins with a space goes on with the classes.
_TABLE = """
fish; animal; .25; .4; 0 1 389-397
shark; animal; -.35; .75; 2-6
chicken; animal; .25; .45; 7 8
ostrich; animal; .15; .45; 9
songbird; bird; .55; .45; 10-20 92-95
bird of prey; bird; .1; .55; 21-24
frog; animal; .0; .4; 25-32
turtle; animal; .2; .25; 33-37
crocodile; animal; -.35; .6; 49 50
lizard; animal; -.1; .4; 38-51
snake; animal; -.5; .6; 52-68
spider; animal; -.5; .55; 69-79
peacock; bird; .55; .5; 84
parrot; bird; .6; .6; 87-91 96
game bird; bird; .3; .45; 80-86
duck; bird; .5; .35; 97-100
elephant; animal; .3; .4; 101 385 386
rabbit; animal; .6; .35; 330-332
squirrel; animal; .55; .5; 335
small mammal; animal; .45; .4; 102-106 298 299 333-338 356-364
worm; animal; -.25; .3; 110 111
sea creature; animal; .05; .35; 107-126 327-329
penguin; bird; .5; .4; 145
seabird; bird; .4; .4; 144 146
wading bird; bird; .45; .3; 127-143
seal; animal; .45; .35; 149 150
whale; animal; .35; .4; 147-148
dog; animal; .65; .5; 151-268
fox; animal; .3; .45; 277-280
wild dog; animal; .0; .5; 269-276
cat; animal; .55; .3; 281-285
big cat; animal; .1; .6; 286-293
bear; animal; .15; .5; 294-297
dragonfly; animal; .4; .4; 319 320
butterfly; animal; .65; .4; 321-326
insect; animal; .05; .4; 300-318
horse; animal; .45; .5; 339
zebra; animal; .35; .45; 340
cow; animal; .3; .3; 345-347
sheep; animal; .4; .25; 348-350
antelope; animal; .35; .35; 351-353
camel; animal; .3; .35; 354
farm animal; animal; .25; .35; 341-344 355
monkey; animal; .3; .55; 365-384
panda; animal; .55; .3; 387 388
aircraft; vehicle; .25; .6; 404 405 908
warplane; vehicle; -.2; .85; 895
warship; vehicle; -.2; .6; 403 833
boat; vehicle; .45; .4; 449 472 484 536 554 576 625 693 694 780 814 871 914
ship; vehicle; .25; .45; 510 628 724
shipwreck; vehicle; -.5; .5; 913
balloon; vehicle; .65; .5; 417
parachute; vehicle; .5; .75; 701
rocket; vehicle; .1; .85; 657 744 812
race car; vehicle; .4; .9; 573 751
car; vehicle; .25; .6; 407 436 468 475 479 511 581 609 627 656 661 717 734 817
motorbike; vehicle; .25; .8; 518 535 665 670
bicycle; vehicle; .5; .55; 444 671 870 880
truck; vehicle; .0; .5; 408 555 565 569 654 660 675 757 779 803 864 866 867 874
train; vehicle; .2; .6; 466 547 705 820 829
tank; vehicle; -.6; .85; 471 586 847
weapon; object; -.65; .8; 413 763 764
horse cart; vehicle; .3; .4; 603 612 690
winter sport; sport; .45; .75; 450 537 795 796 802
baseball; sport; .45; .75; 429 981
ball game; sport; .45; .8; 422 430 522 560 574 722 736 746 752 768 781 805 852 890
gymnastics; sport; .4; .75; 416 543 602 702 747
swimming; sport; .6; .6; 433 445 638 639 801 842 983
castle; building; .3; .4; 483 698
church; building; .2; .3; 406 442 497 538 663 668 832 884
monument; building; .15; .3; 458 649 682 708 863 873
house; building; .35; .3; 425 410 448 500 580 706 853 858 915
fence; structure; .05; .3; 489 716 912
bridge; structure; .3; .4; 821 839 888 718
tower; building; .1; .4; 437 540 517 900
shop; building; .25; .5; 415 424 454 467 509 582 762 788 860 865 886
street; place; .1; .6; 637 704 707 919 920 640 877
cinema; building; .1; .45; 498
prison; building; -.65; .45; 743
dam; structure; .05; .5; 525
stone wall; structure; .1; .25; 825
garden; place; .55; .25; 562 703 738 883 645
tent; object; .4; .4; 672
mountain; landscape; .45; .4; 970
cliff; landscape; .35; .45; 972
coral reef; landscape; .5; .4; 973
geyser; landscape; .3; .6; 974
lake; landscape; .55; .2; 975
valley; landscape; .5; .25; 979
sea coast; landscape; .55; .25; 460 976-978
volcano; landscape; -.1; .75; 980
flower; plant; .7; .35; 946 984-986
plant; plant; .45; .3; 988-990
field; landscape; .45; .25; 987 998 958
fruit; food; .5; .35; 948-957
vegetable; food; .35; .3; 936-945
mushroom; plant; .2; .25; 947 991-997
meal; food; .4; .35; 532 567 809 909 923-926 930-935 959 961-965
dessert; food; .65; .45; 927-929 960 969
coffee; food; .5; .35; 504 505 550 967 968
wine; food; .5; .35; 572 907 966
drink; food; .4; .4; 440 441 737 849 898 899 901 725 503
kitchenware; object; .2; .3; 469 473 499 512 521 544 618 623 659 766 773 813 828 868 891 910
kitchen appliance; object; .1; .35; 534 651 760 827 859 897 896
lamp; object; .25; .25; 619 846
fabric; object; .15; .25; 434 533 741 750 885 911
furniture; object; .1; .2; 423 453 492 493 495 516 520 526 553 559 564 648 721 765 789 831 857 861 894 431
room; place; .1; .25; 421 548 556 598 624 794 799 904 905 435 876
stage; place; .35; .75; 818 819 854
candle; object; .3; .15; 470 862
piano; musical instrument; .45; .4; 579 881
guitar; musical instrument; .5; .55; 402 420 546
violin; musical instrument; .35; .4; 889
cello; musical instrument; .3; .35; 486
drum; musical instrument; .4; .65; 541 542 822
musical instrument; musical instrument; .4; .5; 401 432 494 513 558 566 577 593 594 632 641 642 650 683 684 687 699
 776 875
toy; object; .6; .5; 476 611 719 723 843 850
pumpkin lantern; object; .0; .6; 607
mask; object; -.35; .6; 570 643 715
clothing; clothing; .25; .4; 399 400 411 414 443 439 451 452 457 459 474 496 501 502 514 515 529 552 568 578 591
 601 608 610 614 615 617 630 652 655 658 667 689 697 735 748 770 774 775 793 806 808 824 834 836 837 841 869 887
 903 906
wedding; clothing; .65; .5; 982
cosmetics; object; .35; .4; 551 584 585 589 629 631 679 680 711 838
armour; object; -.25; .65; 461 465 490 524 777 787
medicine; object; -.35; .45; 419 523 678 691 720 823 830 840 845
machine; object; .0; .5; 491 506 561 571 595 596 621 634 686 730 739 740 753 786 811 856 882
camera; object; .2; .35; 622 732 759 872
tool; object; .0; .35; 447 455 462 463 464 477 488 507 587 600 606 616 626 633 674 676 677 714 726 731 758 772 783
 784 792 816 844 855
envelope; object; .1; .25; 549
electronics; object; .0; .35; 480 481 482 485 487 508 527 528 545 590 592 605 613 620 662 664 673 681 685 688 713
 742 745 754 755 761 782 800 807 810 848 851 878
paintbrush; object; .5; .45; 696
pencil; object; .25; .3; 418 563 709 710 749 767
book; object; .25; .2; 917 921
writing; object; .1; .2; 446 692 769 798 918 922 398
clock; object; .0; .3; 409 426 530 531 604 826 835 892
spider web; object; -.2; .2; 815
bubble; object; .5; .35; 971
guillotine; object; -.75; .7; 583
rubbish; object; -.4; .3; 412 728
umbrella; object; .15; .35; 879
box; object; .0; .2; 427 478 519 588 636 756 771 790 791 893
laboratory; object; .05; .35; 438 712 727
honeycomb; object; .2; .35; 599
other thing; object; .0; .35;
"""


def _indices(text: str) -> tuple[int, ...]:
    """Read `7 8 10-12` as indices."""
    ends = [part.partition("-") for part in text.split()]
    return tuple(dict.fromkeys(index for first, _, last in ends for index in range(int(first), int(last or first) + 1)))


@cache
def all_kinds() -> tuple[EverydayKind, ...]:
    """Return every kind; the last one holds the classes that belong to no other."""
    kinds: list[EverydayKind] = []
    taken: set[int] = set()
    for line in _TABLE.strip().replace("\n ", " ").splitlines():
        name, group, valence, arousal, classes = (part.strip() for part in line.split(";"))
        own = tuple(index for index in _indices(classes) if index not in taken)
        taken.update(own)
        kinds.append(EverydayKind(name, group, float(valence), float(arousal), own))
    rest = tuple(index for index in range(CLASSES) if index not in taken)
    return (*kinds[:-1], EverydayKind(kinds[-1].name, kinds[-1].group, kinds[-1].valence, kinds[-1].arousal, rest))


@cache
def groups() -> tuple[str, ...]:
    """Return the wider kinds ("animal", "vehicle") in the order of the table."""
    return tuple(dict.fromkeys(kind.group for kind in all_kinds()))


@cache
def membership() -> NDArray[np.float32]:
    """Return float32[kinds, 1000], 1 where a class belongs to a kind: times probabilities it gives those of kinds."""
    matrix = np.zeros((len(all_kinds()), CLASSES), np.float32)
    for row, kind in enumerate(all_kinds()):
        matrix[row, list(kind.classes)] = 1
    return matrix


PLACES: tuple[str, ...] = (
    "indoors",
    "outdoors",
    "sky",
    "water",
    "sea",
    "beach",
    "mountains",
    "forest",
    "meadow",
    "garden",
    "desert",
    "snow",
    "city",
    "road",
    "night",
    "sunset",
    "outer space",
    "storm",
    "close-up",
    "texture",
    "drawing",
    "black and white",
)
"""What may stand in `Scene.place`, with commas between, surest first; each by rules with a confidence of its own."""

MOTIONS: tuple[str, ...] = ("still", "gentle movement", "plain movement", "fast movement")
"""What the embedded default says in `Scene.motion`, from calm to wild."""
