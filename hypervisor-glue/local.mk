# hypervisor-glue/ includes common/ only.
