# mount/ includes formats/, hypervisor-glue/ and common/.
