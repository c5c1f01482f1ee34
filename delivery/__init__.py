"""Tools that prepare the product for AWS. They read the sources of the template and the state machines, and import no
product code."""
