from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from genmatter.domains.molecule.drugs import DRUGS
from genmatter.domains.molecule.molecules import canonical

FORMULAS = {
    "amitriptyline": "C20H23N", "fluoxetine": "C17H18F3NO", "paroxetine": "C19H20FNO3",
    "sertraline": "C17H17Cl2N", "citalopram": "C20H21FN2O", "venlafaxine": "C17H27NO2",
    "duloxetine": "C18H19NOS", "bupropion": "C13H18ClNO", "mirtazapine": "C17H19N3",
    "trazodone": "C19H22ClN5O", "ketamine": "C13H16ClNO", "haloperidol": "C21H23ClFNO2",
    "chlorpromazine": "C17H19ClN2S", "clozapine": "C18H19ClN4", "olanzapine": "C17H20N4S",
    "quetiapine": "C21H25N3O2S", "risperidone": "C23H27FN4O2", "ziprasidone": "C21H21ClN4OS",
    "aripiprazole": "C23H27Cl2N3O2", "diazepam": "C16H13ClN2O", "lorazepam": "C15H10Cl2N2O2",
    "alprazolam": "C17H13ClN4", "midazolam": "C18H13ClFN3", "zolpidem": "C19H21N3O",
    "zaleplon": "C17H15N5O", "melatonin": "C13H16N2O2", "buspirone": "C21H31N5O2",
    "diphenhydramine": "C17H21NO", "phenobarbital": "C12H12N2O3", "phenytoin": "C15H12N2O2",
    "carbamazepine": "C15H12N2O", "lamotrigine": "C9H7Cl2N5", "levetiracetam": "C8H14N2O2",
    "donepezil": "C24H29NO3", "rivastigmine": "C14H22N2O2", "galantamine": "C17H21NO3",
    "memantine": "C12H21N", "pramipexole": "C10H17N3S", "ropinirole": "C16H24N2O",
    "riluzole": "C8H5F3N2OS", "thalidomide": "C13H10N2O4", "propofol": "C12H18O",
    "morphine": "C17H19NO3", "oxycodone": "C18H21NO4", "fentanyl": "C22H28N2O",
    "methadone": "C21H27NO", "tramadol": "C16H25NO2", "lidocaine": "C14H22N2O",
    "paracetamol": "C8H9NO2", "ibuprofen": "C13H18O2", "naproxen": "C14H14O3",
    "celecoxib": "C17H14F3N3O2S", "sumatriptan": "C14H21N3O2S", "modafinil": "C15H15NO2S",
    "caffeine": "C8H10N4O2", "nicotine": "C10H14N2", "cocaine": "C17H21NO4", "LSD": "C20H25N3O",
    "MDMA": "C11H15NO2", "capsaicin": "C18H27NO3", "JWH-018": "C24H23NO",
    "cetirizine": "C21H25ClN2O3", "loratadine": "C22H23ClN2O2", "ondansetron": "C18H19N3O",
    "atropine": "C17H23NO3", "propranolol": "C16H21NO2", "verapamil": "C27H38N2O4",
    "clopidogrel": "C16H16ClNO2S", "nifedipine": "C17H18N2O6", "sitagliptin": "C16H15F6N5O",
    "omeprazole": "C17H19N3O3S", "warfarin": "C19H16O4", "tadalafil": "C22H19N3O4",
    "tamoxifen": "C26H29NO", "gefitinib": "C22H24ClFN4O3", "erlotinib": "C22H23N3O4",
    "efavirenz": "C14H9ClF3NO2", "chloroquine": "C18H26ClN3", "linezolid": "C16H20FN3O4",
    "trimethoprim": "C14H18N4O3", "diclofenac": "C14H11Cl2NO2", "furosemide": "C12H11ClN2O5S",
    "tofacitinib": "C16H20N6O", "rivaroxaban": "C19H18ClN3O5S", "rimonabant": "C22H21Cl3N4O",
}  # fmt: skip


def test_drugs_are_different_molecules_without_stereo():
    assert len(DRUGS) > 200
    assert len({canonical(s) for s in DRUGS.values()} - {""}) == len(DRUGS)
    assert not any(c in s for s in DRUGS.values() for c in "@/\\.")


def test_drugs_have_the_formulas_that_are_known_of_them():
    found = {k: CalcMolFormula(Chem.MolFromSmiles(DRUGS[k])) for k in FORMULAS}
    assert found == FORMULAS
